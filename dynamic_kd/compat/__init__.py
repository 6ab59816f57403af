"""The interfaces of other libraries on top of this one's metrics, one subpackage for each."""
