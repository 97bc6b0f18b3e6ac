package upstream_test

import (
	"fmt"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/upstream"
)

func Example() {
	for _, text := range []string{
		"{ bucket: my-products, region: eu-west-1, access_key: AKIA, secret_key: hidden }",
		"{ bucket: my-products, endpoint: s3.example.com, access_key: AKIA, secret_key: hidden }",
	} {
		d, root, err := file.Open("s3", []byte(text), nil, upstream.Grammar)
		if err != nil {
			fmt.Println(err)
			return
		}
		s := upstream.Default()
		d.Fill(root, "buckets[].s3", &s)
		if err := d.Err(); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(s.Bucket, s.Addressing, s.SecretKey, s.Timeouts.Dial, upstream.AWSHost("s3", s.Region))
	}

	// Output:
	// my-products virtual *** 3s s3.eu-west-1.amazonaws.com
	// s3:1:3: region: is missing; name the bucket's region, such as us-east-1, which most other servers than AWS take too
	// s3:1:34: endpoint: has no scheme http or https; write such as https://s3.example.com or http://127.0.0.1:9000
}
