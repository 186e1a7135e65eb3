"""Attention calibration (paper eqs. 13, 14): the attention forward, and one calibrated run."""
