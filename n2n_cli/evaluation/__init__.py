"""Scores of denoised pictures against their ground truth, and comparison sheets.

scores          PSNR and SSIM of a model over a set of pictures
evaluation_set  noisy pictures with their ground truth
held_out        held-out pairs, on which a training is evaluated
bundled_score   score of the bundled model on the held-out pairs of a training
metrics         PSNR and SSIM
comparison      one picture before and after denoising
sheet           drawing of comparison sheets
"""
