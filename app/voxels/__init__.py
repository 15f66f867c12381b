"""Voxels by what their decoder weights point at, without a detour over concepts."""
