"""Denoising: one picture, many files, arrays.

picture        one picture in memory
picture_files  many picture files
plan           which input goes to which output
manifest       a file of JSON lines that several processes extend
arrays         `denoise`, for arrays
"""
