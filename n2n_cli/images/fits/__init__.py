"""FITS files.

cards       headers as stored bytes, and their cards
checksums   checksums of header and data units
hdus        header and data units of a file, and the images among them
reading     pages of an open file as pictures
compressed  images that are compressed in tiles
writing     writing files; units that are no images are copied

References
----------
Definition of the Flexible Image Transport System (FITS), version 4.0, IAU FITS Working Group 2018.
"""
