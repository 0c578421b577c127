"""Noise models, noise level and noise correlation.

A noise model is written `name:strength`, as in `gaussian:25`; with a range, as in `gaussian:0-50`, a strength is drawn
for every view. A model draws independent noisy views of a clean picture and never clips or rounds them, since that
would give the noise a mean, which Noise2Noise would learn (Lehtinen et al. 2018, section 2).

model        base class of the noise models
gaussian     Gaussian noise, independent or correlated
poisson      shot noise, alone and with Gaussian read noise
replaced     noise that replaces pixels: lost pixels, wrong colours, letters
pixelate     noise of downscaling by picking single pixels
parsing      a noise model from its text
lettering    random letters for the text noise
level        noise level of a picture
correlation  spatial correlation of noise
"""

from n2n_cli.noise.gaussian import Gaussian, Grain
from n2n_cli.noise.model import NoiseModel, Strength, within
from n2n_cli.noise.parsing import NOISE_MODELS, parse_noise, register_noise
from n2n_cli.noise.pixelate import Pixelate
from n2n_cli.noise.poisson import Poisson, PoissonGaussian
from n2n_cli.noise.replaced import Bernoulli, Impulse, Text

__all__ = [
    "NOISE_MODELS",
    "Bernoulli",
    "Gaussian",
    "Grain",
    "Impulse",
    "NoiseModel",
    "Pixelate",
    "Poisson",
    "PoissonGaussian",
    "Strength",
    "Text",
    "parse_noise",
    "register_noise",
    "within",
]
