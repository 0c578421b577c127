"""Plots: of trainings and of sweeps.

figures  the figures' content
style    their looks, and saving them as files
"""
