"""Plots of trainings and sweeps.

figures  content of the figures
style    style of the figures, and their files
"""
