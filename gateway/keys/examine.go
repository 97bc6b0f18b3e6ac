package keys

import "context"

// Discover fetches the discovery document of the issuer that the configuration names, of which
// IntrospectionEndpoint knows from then on. It is for keys that are not started.
func (k *Keys) Discover() (*Issuer, error) {
	o := &k.set.o
	i, err := Discover(context.Background(), k.config.IssuerURL, Roots(k.config.CA, o.RootCAs), o.FetchTimeout)
	if err == nil {
		k.issuer.Store(i)
	}
	return i, err
}

// Examine fetches the key set at a URL, and returns its keys that would verify tokens, one at least.
func (k *Keys) Examine(url string) (usable []Key, err error) {
	o := &k.set.o
	data, err := get(context.Background(), newClient(Roots(k.config.CA, o.RootCAs), o.FetchTimeout), url, keySetTypes)
	if err == nil {
		usable, _, err = parseKeySet(data, k.config.JWKSAlgorithm)
	}
	return usable, err
}
