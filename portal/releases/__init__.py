"""What exists: releases, their builds, and who downloaded which."""
