"""While a participant is in the room: display, tracker, session, recorder. Never imports `analysis`."""
