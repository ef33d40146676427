"""A burst: more ticks than anybody can take, at once, with slow actors behind, and what must hold all the same."""
