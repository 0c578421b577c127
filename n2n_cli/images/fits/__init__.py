"""FITS files.

cards       headers as stored bytes, and their cards
checksums   checksums of header and data units
hdus        header and data units of a file, and the images among them
reading     reading of pages as pictures
compressed  images compressed in tiles
writing     writing of files; units that are not images are copied

References
----------
Definition of the Flexible Image Transport System (FITS), version 4.0, IAU FITS Working Group 2018.
"""
