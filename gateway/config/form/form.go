// Package form knows how texts in the configuration are written that are more than words: names,
// hosts, ports, paths. In all of them letters are those of ASCII.
package form

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// MaxExtension is the most bytes of an extension of a key, with its dot.
const MaxExtension = 16

var (
	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	hostForm = regexp.MustCompile(`^` + labelForm + `(\.` + labelForm + `)*$`)
)

// labelForm is a label of a DNS name (RFC 1123, 2.1), underscores allowed.
const labelForm = `[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?`

// IsName reports whether s is letters, digits, '.', '_' and '-', a letter or
// digit first.
func IsName(s string, most int) bool { return len(s) <= most && nameForm.MatchString(s) }

// IsHostName reports whether s is a DNS name. All digits and dots is a mistyped address.
func IsHostName(s string) bool {
	return len(s) <= 253 && hostForm.MatchString(s) && strings.Trim(s, "0123456789.") != ""
}

// IsControl reports whether r is a control character of ASCII.
func IsControl(r rune) bool { return r < ' ' || r == 0x7f }

// IsToken reports whether s is a token of HTTP (RFC 9110, 5.6.2).
func IsToken(s string) bool {
	return s != "" && IsVisible(s) && !strings.ContainsAny(s, "\"(),/:;<=>?@[\\]{}")
}

// IsVisible reports whether s is visible ASCII without spaces.
func IsVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// IsListenAddress reports whether s is [host]:port with a numeric port.
func IsListenAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && IsPort(port, 0) && (host == "" || IsHost(host))
}

// IsPort reports whether s is a port number of at least least.
func IsPort(s string, least int) bool {
	v, err := strconv.ParseUint(s, 10, 16)
	return err == nil && int(v) >= least
}

// IsHost reports whether s is an IP address or a host name.
func IsHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == "" || strings.HasPrefix(s, "fe80:")
	}
	return IsHostName(s)
}

// IsURLHost reports whether s can be the host of a URL: an address, or a name, which
// may end in the dot of an absolute one.
func IsURLHost(s string) bool {
	name, absolute := strings.CutSuffix(s, ".")
	return IsHost(s) || absolute && IsHostName(name)
}

// Path checks a decoded path and returns it without a trailing slash, the root
// as "/".
func Path(s string) (path, problem, fix string) {
	if !strings.HasPrefix(s, "/") {
		return "", "does not begin with \"/\"", "put a \"/\" before it"
	}
	for _, r := range s {
		switch {
		case IsControl(r):
			return "", "contains a control character", "remove it"
		case r == '?' || r == '#':
			return "", "contains \"?\" or \"#\", which end a path", "write the path alone"
		case r == '%':
			return "", "contains \"%\"", "write the path decoded: a space as a space, not as %20"
		}
	}
	path = strings.TrimSuffix(s, "/")
	if path == "" {
		return "/", "", ""
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		switch segment {
		case "":
			return "", "contains \"//\"", "write single slashes"
		case ".", "..":
			return "", "contains a \".\" or \"..\" segment", "write the path without it"
		}
	}
	if len(path) > 1024 {
		return "", "is longer than 1024 bytes", "shorten it"
	}
	return path, "", ""
}
