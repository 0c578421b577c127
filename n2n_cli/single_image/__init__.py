"""Self-supervised learning from single noisy pictures.

No second shot of the same scene is needed: the network learns from the very picture that is to be denoised, or from
many single noisy pictures.

denoiser           the denoiser of one picture: a given model, or one that learns from it
learner            crops of a picture, held-out blocks and early stopping
zero_shot          Zero-Shot Noise2Noise: a small network trained from scratch
neighbor2neighbor  Neighbor2Neighbor: fine-tuning of a trained network
blend              weighted average of two denoisers
blend_weights      weights of that average, estimated from the noisy picture
many_pictures      model that learns from many single noisy pictures
risk_estimate      estimate of a denoiser's risk without ground truth
noise_curve        noise variance as a function of brightness
clipping           pixels whose noise was clipped at black or white
"""
