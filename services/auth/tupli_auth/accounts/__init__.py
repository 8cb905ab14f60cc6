"""What people do with their accounts, each in as few transactions as it takes."""
