"""Many trainings, to find the best value of a setting.

grid     the configurations of a sweep
sweep    the trainings of a grid, several at a time
workers  trainings in worker processes
results  results of the trainings, and the best of them
"""
