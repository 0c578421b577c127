"""Many trainings, to find the best value of a setting.

grid     the configurations of a sweep
sweep    their trainings, some at a time
workers  a training in a process of its own
results  what became of them
"""
