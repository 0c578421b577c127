"""Scores of denoised images whose ground truth is known, and comparison sheets.

scores      PSNR and SSIM of a model over a test set
test_sets   noisy images with their clean versions
metrics     PSNR and SSIM
comparison  one image before and after denoising
sheet       contact sheets
"""
