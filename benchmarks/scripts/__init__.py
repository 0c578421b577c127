"""What users of other packages would write to denoise IN.png to OUT.png; each runs where its package is."""
