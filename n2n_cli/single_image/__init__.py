"""Learning from noisy pictures that have no second shot: from the one that is to be denoised, or from many.

denoiser           the model that was chosen, or one that learns from the picture first
learner            where crops come from, and when to stop
zero_shot          Zero-Shot Noise2Noise
neighbor2neighbor  Neighbor2Neighbor
blend              two denoisers as one
blend_weights      weights of the two, estimated from the noisy picture
many_pictures      the model that learns from many single noisy pictures
risk_estimate      estimate of a denoiser's risk without ground truth
noise_curve        the variance of the noise, by brightness
clipping           where the noise was cut off at black or white
"""
