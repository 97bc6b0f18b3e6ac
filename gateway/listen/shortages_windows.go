package listen

import "golang.org/x/sys/windows"

// shortages are the errors of an accept that pass.
var shortages = []error{windows.WSAEMFILE, windows.WSAENOBUFS, windows.ERROR_NOT_ENOUGH_MEMORY, windows.WSAECONNRESET, windows.WSAEINTR}
