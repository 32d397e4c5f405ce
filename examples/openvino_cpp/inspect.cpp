// Decides on images with OpenVINO: no Python, no image library. See CMakeLists.txt.
//
//     inspect part.onnx a.ppm b.ppm ...      prints a line for each: file, decision, score, p-value
//
// The model comes from `gnl-jax export --format onnx --target openvino --input-size HxW`, so it resizes images of that
// size itself, and it decides itself. Images are binary PPM files (P6, 8 bits), as a camera's buffer of rows of R, G, B.

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <openvino/openvino.hpp>

struct Image {
    std::size_t height = 0, width = 0;
    std::vector<std::uint8_t> rgb;  // rows of R, G, B
};

Image read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string magic;
    std::size_t depth = 0;
    Image image;
    file >> magic >> image.width >> image.height >> depth;
    file.get();  // the one space after the header
    if (!file || magic != "P6" || depth != 255)
        throw std::runtime_error(path + ": expected a binary PPM file of 8 bits");
    image.rgb.resize(image.height * image.width * 3);
    file.read(reinterpret_cast<char*>(image.rgb.data()), static_cast<std::streamsize>(image.rgb.size()));
    if (!file) throw std::runtime_error(path + ": cut off");
    return image;
}

int main(int argc, char** argv) {
    if (argc < 3) {
        std::cerr << "usage: inspect MODEL.onnx IMAGE.ppm ...\n";
        return 2;
    }
    const char* decisions[] = {"OK", "REVIEW", "NG"};
    int status = 0;
    try {
        ov::Core core;
        // On some processors OpenVINO would choose bfloat16, with which the model was not checked.
        auto model = core.compile_model(argv[1], "CPU", ov::hint::inference_precision(ov::element::f32));
        auto request = model.create_infer_request();
        const auto wanted = model.input("images").get_partial_shape();
        for (int i = 2; i < argc; ++i) {
            try {
                Image image = read_ppm(argv[i]);
                const ov::Shape shape{1, image.height, image.width, 3};
                if (!wanted.compatible(ov::PartialShape(shape)))
                    throw std::runtime_error(std::string(argv[i]) + ": another size than the model takes");
                request.set_tensor("images", ov::Tensor(ov::element::u8, shape, image.rgb.data()));
                request.infer();
                const int decision = request.get_tensor("decision").data<std::int32_t>()[0];
                const float score = request.get_tensor("score").data<float>()[0];
                const float p_value = request.get_tensor("p_value").data<float>()[0];
                std::printf("%s,%s,%.9g,%.9g\n", argv[i], decisions[decision], score, p_value);
            } catch (const std::exception& error) {  // an image that cannot be used is never OK
                std::printf("%s,ERROR,,\n", argv[i]);
                std::cerr << error.what() << "\n";
                status = 3;
            }
        }
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << "\n";
        return 1;
    }
    return status;
}
