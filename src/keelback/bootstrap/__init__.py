"""What makes a cluster of components: certificates, kubeconfigs, nodes, images; up and down."""
