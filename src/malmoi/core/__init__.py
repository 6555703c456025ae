"""What every other package stands on: settings, errors, files, hashes, the console, the device."""
