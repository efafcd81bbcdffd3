"""Typed, plain data that agent and controller share: paths, manifests, resources, supervision, endpoints."""
