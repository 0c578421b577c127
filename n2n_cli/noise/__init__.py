"""Noise models: what turns a clean picture into the noisy ones that a network learns from.

A model is written `name:strength`, as in `gaussian:25`; of a range, every view has a strength of its own, uniform in
`gaussian:0-50` and log-uniform in `gaussian:1~50`. A mixture, `mix: 2 gaussian:0-50; 1 poisson:4~1000`, draws each pair
of views from one of its models. A model draws independent noisy views of a clean picture. Targets are never clipped,
rounded or compressed: their noise would have a mean, which Noise2Noise then learns (Lehtinen et al. 2018, section 2).

model        interface of all noise models, and their strengths
gaussian     normal noise: independent, or correlated between neighbours
poisson      noise of counted photons, alone and with a camera's own
structured   noise of microscopes, blurred, and of sensors that are read by rows
camera       noise of digital cameras
compression  JPEG artefacts, clipping and rounding to 8 bits
replaced     noise that takes the place of pixels: lost ones, wrong colours, letters
pixelate     the noise of shrinking a picture by single pixels
mixture      mixtures of noise models
parsing      a noise model from its text
lettering    random letters, for the text noise
level        noise level of a picture
correlation  spatial correlation of noise
"""

from n2n_cli.noise.camera import Camera
from n2n_cli.noise.compression import Jpeg, Rounded
from n2n_cli.noise.gaussian import Gaussian, Grain
from n2n_cli.noise.mixture import Mixture
from n2n_cli.noise.model import NoiseModel, Strength
from n2n_cli.noise.parsing import NOISE_MODELS, parse_noise
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
]
