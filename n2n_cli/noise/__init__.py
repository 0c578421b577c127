"""Noise models, noise analysis and variance stabilisation.

A noise model draws independent noisy views of a clean picture. It is written `name:strength`, as in `gaussian:25`. With
a range, the strength of every view is drawn from it: uniformly from `gaussian:0-50`, uniformly in the logarithm from
`gaussian:1~50`. A mixture, `mix: 2 gaussian:0-50; 1 poisson:4~1000`, draws each pair of views from one of its models.
Targets are never clipped, rounded or compressed: the noise would get a non-zero mean, which Noise2Noise would learn
(Lehtinen et al. 2018, section 2).

model        base class of the noise models
gaussian     Gaussian noise, independent or correlated
poisson      shot noise, alone and with Gaussian read noise
structured   blurred noise of microscopes, and row noise
camera       noise of digital cameras
compression  JPEG artefacts, clipping and rounding to 8 bits
replaced     noise that replaces pixels: lost pixels, wrong colours, letters
pixelate     noise of downscaling by picking single pixels
mixture      mixtures of noise models
parsing      parser of noise models
lettering    random letters for the text noise
analysis     noise of a picture: level, correlation, dependence on brightness
spectrum     energies of a picture's blocks by frequency
traces       JPEG's block grid, and single wrong pixels
measuring    tiles of a large picture, wavelet filter, robust deviation
correlation  spatial correlation of noise
stabilisation  variance stabilisation of photon noise, and the fit of its parameters
"""

from n2n_cli.noise.camera import Camera
from n2n_cli.noise.compression import Jpeg, Rounded
from n2n_cli.noise.gaussian import Gaussian, Grain
from n2n_cli.noise.mixture import Mixture
from n2n_cli.noise.model import NoiseModel, Strength, within
from n2n_cli.noise.parsing import NOISE_MODELS, parse_noise, register_noise
from n2n_cli.noise.pixelate import Pixelate
from n2n_cli.noise.poisson import Poisson, PoissonGaussian
from n2n_cli.noise.replaced import Bernoulli, Impulse, Text
from n2n_cli.noise.structured import Blurred, Row

__all__ = [
    "NOISE_MODELS",
    "Bernoulli",
    "Blurred",
    "Camera",
    "Gaussian",
    "Grain",
    "Impulse",
    "Jpeg",
    "Mixture",
    "NoiseModel",
    "Pixelate",
    "Poisson",
    "PoissonGaussian",
    "Rounded",
    "Row",
    "Strength",
    "Text",
    "parse_noise",
    "register_noise",
    "within",
]
