"""Beholder: run an eye-tracking study of pictures, and compare where people look with where Vision Transformers attend.

`experiment` runs sessions, `analysis` compares, `shared` is what both speak, `stimuli` the bundled pictures. In a
checkout these are folders at the top, and links to them lie here; installed, they are packages of this one.
"""
