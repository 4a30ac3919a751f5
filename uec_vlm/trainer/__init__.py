"""Turns the circle: samples in, a run folder out. Composes the stations and computes nothing itself."""
