"""The attention-calibration study: does it help a miniature with the prompts of a real model?"""
