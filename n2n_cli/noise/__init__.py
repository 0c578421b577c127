"""Noise models: what turns a clean picture into the noisy ones that a network learns from.

A model is written `name:strength`, as in `gaussian:25`; of a range, every view has a strength of its own, uniform in
`gaussian:0-50` and log-uniform in `gaussian:1~50`. A model draws independent noisy views of a clean picture and never
clips or rounds them: that would give the noise a mean, which Noise2Noise then learns (Lehtinen et al. 2018, section 2).

model        what all of them have
gaussian     normal noise: of each value by itself, or such as neighbours share
poisson      noise of counted photons, alone and with a camera's own
replaced     noise that takes the place of pixels: lost ones, wrong colours, letters
pixelate     the noise of shrinking a picture by single pixels
parsing      a noise model from its text
lettering    random letters, for the text noise
level        noise level of a picture
correlation  spatial correlation of noise
"""

from n2n_cli.noise.gaussian import Gaussian, Grain
from n2n_cli.noise.model import NoiseModel, Strength
from n2n_cli.noise.parsing import NOISE_MODELS, parse_noise
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
]
