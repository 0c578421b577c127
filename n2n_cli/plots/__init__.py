"""Plots of trainings and sweeps.

figures  content of the figures
style    style of the figures, and saving them as files
"""
