"""Attention calibration (paper eqs. 13, 14): compute it, turn it on, and prove that it happened."""
