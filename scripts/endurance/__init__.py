"""A live session against a real ASP.NET Core gateway for a long time, with everything going wrong in turn."""
