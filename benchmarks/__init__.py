"""What made the tables of results/, each a command."""

from aef_worldmodel.utils.command import prepare

prepare(__name__)
