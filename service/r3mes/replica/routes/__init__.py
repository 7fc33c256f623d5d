"""The routes of the API: each module makes a router; what they need comes through Depends."""
