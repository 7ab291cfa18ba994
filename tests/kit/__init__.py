"""What tests share: real servers, builders and waiting. No test lives here."""
