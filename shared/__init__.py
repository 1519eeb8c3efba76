"""What both sides of Beholder share: settings, geometry, gaze samples, the data set on disk.

Imports neither `experiment` nor `analysis`, nor torch nor PsychoPy.
"""
