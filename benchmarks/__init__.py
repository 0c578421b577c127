"""How fast and how good n2n is, in ratios to others in one run, and the figures of the documents.

__main__       a training step and a denoised picture, beside PyTorch; its rows are `cases`
profile        where the time of a step goes
ranks          training over MPI
self           learning from one noisy picture
denoisers      quality beside classical denoisers
tools          other tools, installed from nothing; `scripts` has what each is asked to run
report         what docs/REPORT.md shows
screen         what a terminal shows of a command
sheets         contact sheets of the bundled model
twins          the same networks in PyTorch; `torch_denoise` is the shortest script with one
timing         several ways to do one thing, taking turns, each in a process of `workers`
environments   environments of Python, and commands that end in time
"""
