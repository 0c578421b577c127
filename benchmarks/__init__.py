"""Benchmarks of speed and quality, and the figures of the documents.

__main__       speed of training and denoising beside other programs; `cases` has its rows, `facts` other results
works          the work that is timed, in every way
runtimes       networks in ONNX Runtime and OpenVINO
profile        time of a training step, layer by layer
ranks          speed of training over MPI
self           speed and quality of learning from one noisy picture
noise_analysis   training of the network by which noise is measured
denoisers      quality against classical denoisers
tools          other tools, installed from scratch; `scripts` has the programs that use them
report         tables and figures of docs/REPORT.md
screen         screenshots of the terminal
sheets         contact sheets of the bundled model
twins          the same networks in PyTorch; `torch_denoise` is a minimal script with one
timing         interleaved timing of alternatives, each in a process of `workers`
environments   Python environments, and commands with a time limit
"""
