"""Programs: what the commands of the README run. No part of the wheel."""
