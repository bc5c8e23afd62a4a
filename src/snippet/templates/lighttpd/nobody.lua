-- For hosts that nobody knows.
return 421
