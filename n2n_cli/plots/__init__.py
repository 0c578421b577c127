"""Plots: of trainings and of sweeps.

figures  what they show
style    how they look, and how they become files
history  how a training went, from its run's metrics
"""
