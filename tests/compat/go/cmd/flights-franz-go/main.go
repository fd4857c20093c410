// Reads the flights topic with a franz-go group and prints its fingerprint as JSON.
package main

func main() {}
