package route_test

import (
	"fmt"

	"yatagarasu/gateway/route"
)

func Example() {
	var b route.Builder[string]
	for _, r := range []struct{ host, prefix, bucket string }{
		{"", "/products", "products"},
		{"", "/products/eu", "products-eu"},
		{"cdn.example.com", "/", "cdn"},
	} {
		if err := b.Add(r.host, r.prefix, &r.bucket); err != nil {
			fmt.Println(err)
			return
		}
	}
	table := b.Build()

	for _, r := range []struct{ host, path string }{
		{"example.com", "/products/eu/a.png"},
		{"example.com", "/products/europe/a.png"},
		{"example.com", "/products-secret/a.png"},
		{"CDN.example.com:443", "/products/a.png"},
	} {
		bucket, n := table.Lookup([]byte(r.host), []byte(r.path))
		if bucket == nil {
			fmt.Println(r.path, "has no route")
			continue
		}
		fmt.Println(r.path, "is key", r.path[n+1:], "of", *bucket)
	}
	// Output:
	// /products/eu/a.png is key a.png of products-eu
	// /products/europe/a.png is key europe/a.png of products
	// /products-secret/a.png has no route
	// /products/a.png is key products/a.png of cdn
}
