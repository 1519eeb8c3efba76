"""What both sides of Beholder speak: settings, geometry, gaze samples, the data set on disk.

Imports neither `experiment` nor `analysis`, nor torch nor PsychoPy.
"""
