package upstream

import (
	"cmp"
	"net/netip"
	"net/url"
	"strings"

	"yatagarasu/gateway/config/form"
)

// canonicalEndpoint returns scheme://host[:port][/path], scheme and host in lower case. It
// may have a path only where path is set.
// Its messages quote nothing: a URL can carry a password.
func canonicalEndpoint(s string, path bool) (endpoint, problem, fix string) {
	const example = "write such as https://s3.example.com or http://127.0.0.1:9000"
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", "is no URL", example
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "has no scheme http or https", example
	case u.User != nil:
		return "", "contains credentials", "put them into access_key and secret_key"
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "", "has a query or fragment", "end it before them"
	}
	base, problem, fix := canonicalBase(strings.TrimSuffix(cmp.Or(u.RawPath, u.EscapedPath()), "/"))
	switch {
	case base != "" && !path:
		return "", "has a path", "end it after the host and port"
	case problem != "":
		return "", problem, fix
	}
	host, port := u.Hostname(), u.Port()
	bracketed := strings.HasPrefix(u.Host, "[")
	if a, err := netip.ParseAddr(host); bracketed && (err != nil || !a.Is6() || a.Zone() != "") || !bracketed && !form.IsURLHost(host) {
		return "", "has no valid host", example
	}
	if port != "" && !form.IsPort(port, 1) || port == "" && strings.HasSuffix(u.Host, ":") {
		return "", "has no valid port", "write a port from 1 to 65535, or none"
	}
	return u.Scheme + "://" + strings.ToLower(u.Host) + base, "", ""
}

// canonicalBase returns the path before the bucket's, encoded. An encoded slash stays so.
func canonicalBase(path string) (base, problem, fix string) {
	if path == "" {
		return "", "", ""
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		decoded, err := url.PathUnescape(segment)
		switch {
		case err != nil || strings.ContainsFunc(decoded, form.IsControl):
			return path, "has a path with a control character", "write the path without it"
		case decoded == "":
			return path, "has a path with \"//\"", "write single slashes"
		case decoded == "." || decoded == "..":
			return path, "has a path with a \".\" or \"..\" segment", "write the path without it"
		}
		base += "/" + url.PathEscape(decoded)
	}
	if len(base) > 1024 {
		return path, "has a path that is longer than 1024 bytes", "shorten it"
	}
	return base, "", ""
}

func isAddressEndpoint(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err == nil
}

// keyPrefix checks the prefix of keys at the origin.
func keyPrefix(s string) (_, problem, fix string) {
	switch {
	case !strings.HasSuffix(s, "/"):
		// "tenant-1" would reach the keys of tenant-10.
		return "", "does not end in \"/\"", "add it: the prefix is of whole segments"
	case strings.HasPrefix(s, "/"):
		return "", "begins with \"/\"", "remove it: keys begin without one"
	}
	path, problem, fix := form.Path("/" + s)
	return strings.TrimPrefix(path, "/") + "/", problem, fix
}
