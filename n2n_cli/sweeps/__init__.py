"""Grid search over one or two settings, with one training per point.

grid     points of the grid, with their configurations
sweep    runs the trainings of a grid, several at a time
workers  trainings in worker processes
results  results of the trainings, and the best one
"""
