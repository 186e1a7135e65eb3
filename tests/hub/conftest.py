from tests.hub.fixtures import _running, hub, published, use

__all__ = ["_running", "hub", "published", "use"]
