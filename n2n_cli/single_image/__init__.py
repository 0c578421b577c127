"""Self-supervised learning from single noisy pictures.

No second shot of the same scene is needed: the network learns from the very picture that is to be denoised, or from
many single noisy pictures.

denoiser           the denoiser of one picture: a given model, or one that learns from it
learner            crops of a picture, held-out blocks and early stopping
zero_shot          Zero-Shot Noise2Noise: a small network trained from scratch
neighbor2neighbor  the loss of Neighbor2Neighbor
many_pictures      model that learns from many single noisy pictures
"""
